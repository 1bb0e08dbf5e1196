"""What lsmem alone can say."""
