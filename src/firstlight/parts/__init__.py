"""What methods share: heads, losses, momentum copies, masks. One part a file, named after what it is."""
