"""What an inventory says of an outline and of a track."""
