"""What a crash, a full disk or a hostile file does, and which parts of a network have died."""
