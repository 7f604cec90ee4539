//! What guard knows of the kernel side: the only module that knows aya and map names.
