"""What can be broken: each kind makes an Injection, pure text."""
