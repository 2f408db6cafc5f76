//! Authentication and authorisation: `Credentials` in, `Principal` out, or no further.
//!
//! The head of a request is judged without I/O, and at once unless a password has to be hashed; its body is judged as it passes, by the verifying stream that
//! takes the body's place. So a denied request reaches no inner service and its body is never polled, and a body that is
//! not what was signed ends in an error before the end of the stream, where everything that commits still waits.
//!
//! | file | holds |
//! |---|---|
//! | `layer` | the layer and its service |
//! | `credentials` | who is known |
//! | `judge` | the verdict over a claim, and rights |
//! | `session` | temporary credentials |
//! | `demand` | what operations demand of the policies of sessions |
//! | `password`, `throttle` | passwords, and who has to wait before one is looked at |
//! | `payload` | the verifying stream |
//! | `digests` | the digests it compares |

mod credentials;
mod demand;
mod digests;
mod judge;
mod layer;
mod password;
mod payload;
mod session;
#[cfg(test)]
mod tests;
mod throttle;

pub use credentials::{CredentialStore, PasswordUser, S3Key};
pub use layer::{Auth, AuthLayer};
