"""The Pulumi program and the commands around it. Only wiring: the rooms know how to build."""
