"""Has Pulumi protect what is guarded."""

from __future__ import annotations

import pulumi

from components.kit.guarded import loss


def _protect(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
    if loss(args.type_, args.name) is None:
        return None
    kept = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(protect=True))
    return pulumi.ResourceTransformResult(props=args.props, opts=kept)


def protect() -> None:
    """All of it, whichever room or chart makes it, of what this program registers from now on."""
    pulumi.runtime.register_resource_transform(_protect)
