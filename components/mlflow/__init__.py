"""MLflow: experiments, their artefacts, and the registry of models."""
