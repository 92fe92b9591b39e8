"""Checks of the cluster itself: nodes, etcd, names, Services, policy, the doors of each host."""
