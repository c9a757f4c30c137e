"""Images: from the encoded bytes in a source to the stored image and its pixels. Imports sources, dataset and base."""
