"""Language models: loading, adapting, embedding."""
