"""Room: releases of models: which version answers, which one gets how much of the traffic."""
