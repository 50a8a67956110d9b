//! What somebody tries who wants to act in the owner's name, to read what is not shown, or to stop the blog.

mod forms;
mod slow;
mod xss;
