"""The templates of the checks of question answering, a file a language."""
