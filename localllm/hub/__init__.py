"""The Hugging Face hub and its cache: list, choose, download, read from afar. Only here it is spoken to."""
