"""What the use cases need from the other rooms, by the room that gives it."""
