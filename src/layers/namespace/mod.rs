//! Namespace: from who is calling to whose buckets they see, and with which Hub token.
//!
//! | file | holds |
//! |---|---|
//! | `layer` | the layer and its service |
//! | `tenancy` | whose buckets callers see, as far as that is known |
//! | `owners` | whose the tokens of single callers are |

mod layer;
mod owners;
mod tenancy;

pub use layer::{NamespaceLayer, Namespaced};
pub use owners::AskOwner;
pub use tenancy::{Scope, Tenancy};
