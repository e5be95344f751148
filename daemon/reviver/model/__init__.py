"""The vocabulary: what the words of the documentation are in code. Pure; imports nothing of ours."""
