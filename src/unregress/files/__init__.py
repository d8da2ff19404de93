"""Files written whole or not at all, and JSON read into typed records."""
