"""Room: the one way in from outside, Envoy Gateway and its Envoy proxies."""
