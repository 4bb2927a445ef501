"""What is on a screen. Widgets take nouns and emit messages; none holds the service."""
