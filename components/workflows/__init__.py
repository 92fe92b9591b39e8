"""Workflows: steps that run one after another in pods, by Argo Workflows."""
