"""What the commands of `flowcut` do; each is imported when it is called, so that help comes at once."""
