"""A facade: the Hugging Face Hub's HTTP API over repos and storage, for unmodified Hub clients.

Sources: huggingface_hub's client as installed (2.4) and the Git LFS batch API. What the client requires of an
answer is tested by driving the client itself.
"""
