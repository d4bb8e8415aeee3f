"""The loop: collect, penalize, estimate, learn, log; the story of the README's diagram."""
