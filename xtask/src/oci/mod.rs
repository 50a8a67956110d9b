//! OCI image-spec types: digests, layers, images, layouts, references. Pure.
