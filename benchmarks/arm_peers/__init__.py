"""What the ARM backend is compared with: other runtimes on an emulated CPU, and plain C."""
