"""Room: models served by KServe, in the namespace of what users bring."""
