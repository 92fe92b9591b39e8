"""What everybody says: verdicts and results, words for causes, errors, plain forms for JSON."""
