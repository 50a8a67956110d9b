//! Entry point: hands over to the library and exits with the code it answers.

fn main() -> std::process::ExitCode {
    blog::cli::main()
}
