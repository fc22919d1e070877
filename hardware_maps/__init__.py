"""What chips can do, as data with a source beside each number. No map is shipped yet."""
