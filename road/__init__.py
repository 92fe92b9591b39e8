"""The driver of `make up`: it runs the commands of the other rooms, imports none of them."""
