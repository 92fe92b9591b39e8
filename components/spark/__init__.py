"""Spark: jobs as pods without rights in the cluster, tables that change by whole commits, a page of what ran."""
