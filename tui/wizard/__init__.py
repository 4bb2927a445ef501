"""The form for a VM: its fields, the document that they write, and the screen around them."""
