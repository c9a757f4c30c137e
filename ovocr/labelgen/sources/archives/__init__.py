"""Archives of images: .tar, .zip and .rec. They are never unpacked."""
