"""What no run takes away or makes anew, whoever starts it: what holds data, and what clients know.

`make up` refuses a plan that would (road.preview). The program has Pulumi protect it besides (kit.protecting), so that
the plain `pulumi up` and `pulumi destroy` are refused, too.
"""

from __future__ import annotations

#: By Pulumi's type, with what would be lost.
GUARDED = {
    "kubernetes:apps/v1:StatefulSet": "its pods would all stop at once",
    "kubernetes:core/v1:PersistentVolumeClaim": "its data would be cut off",
    "kubernetes:core/v1:PersistentVolume": "the claim on it would be lost",
    "kubernetes:core/v1:Service": "its address would change under the clients",
    "kubernetes:core/v1:Namespace": "everything in it would be deleted",
    "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition": "its objects would go with it",
}
SITE_CA = "site-ca"
_CA_LOST = "clients would no longer know whom to trust"


def loss(kind: str, name: str) -> str | None:
    """What would be lost with the resource of this type and name in Pulumi; None: it may go."""
    return _CA_LOST if name == SITE_CA else GUARDED.get(kind)
