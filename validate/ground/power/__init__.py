"""How a host's life is taken and given back: Podman in a lab, SSH, Redfish, IPMI."""
