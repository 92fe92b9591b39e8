"""What the rooms share. Nothing here knows a room by name.

Free of Pulumi: settings, probing, naming, secrets, contract, discovery, pki, manifest, schema.
Built on Pulumi: component, chart.
"""
