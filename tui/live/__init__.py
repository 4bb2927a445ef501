"""A guest's screen in a terminal: pictures to cells, guests' letters to letters, both to bytes."""
