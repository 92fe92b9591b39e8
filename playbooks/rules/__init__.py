"""What consumers take from an inventory: plain values in, sentences out.

A rule is the consumer's own (kubeadm, the kubelet, nftables, keepalived, HAProxy), so that nothing
passes here that is refused after the first hosts were changed.
"""
