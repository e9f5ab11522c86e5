"""What does this fleet file say, and what is wrong with it, line by line? Text in, frozen ``Fleet`` out."""
