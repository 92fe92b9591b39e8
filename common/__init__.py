"""What every part of the project needs and none owns: writing a file whole, keys that sign."""
