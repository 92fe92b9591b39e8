"""What the rooms share. Nothing here knows a room by name.

Free of Pulumi: everything but component and chart, which are built on it.
"""
