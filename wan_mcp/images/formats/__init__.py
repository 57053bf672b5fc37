"""What each picture format says of itself in its bytes; nothing here decodes a pixel."""
