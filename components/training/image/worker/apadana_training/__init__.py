"""What a program of a distributed training is given; the README of it is docs/how-to/train-on-several-hosts.md."""
