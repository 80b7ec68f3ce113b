"""What a crash, a full disk or a hostile file does."""
