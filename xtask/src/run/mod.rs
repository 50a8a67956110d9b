//! Running an image under qemu-user.
