//! The typed façade over the stack: adapters call it, and never see the enums at the tower boundary.

use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::storage::error::StorageError;
use crate::storage::operation::{AnyOutput, Operation};
use crate::storage::request::{Credentials, Guards, RequestContext, StorageRequest};

/// The bound of every layer: a service over requests of callers `C`.
pub trait StorageService<C>:
    Service<StorageRequest<C>, Response = AnyOutput, Error = StorageError, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<C, S> StorageService<C> for S where
    S: Service<
            StorageRequest<C>,
            Response = AnyOutput,
            Error = StorageError,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// The whole stack, boxed once at its end.
pub type StorageStack = BoxCloneSyncService<StorageRequest<Credentials>, AnyOutput, StorageError>;

/// What the adapters call.
#[derive(Debug, Clone)]
pub struct Gateway {
    stack: StorageStack,
}

impl Gateway {
    /// Puts the façade on a stack.
    pub fn new(stack: StorageStack) -> Self {
        Self { stack }
    }

    /// Sends one operation through the stack and returns its own output type.
    ///
    /// Errors: whatever a layer or the provider decides.
    pub async fn call<O: Operation>(
        &self,
        context: RequestContext,
        caller: Credentials,
        operation: O,
    ) -> Result<O::Output, StorageError> {
        let request = StorageRequest {
            context,
            caller,
            operation: operation.into(),
            guards: Guards::default(),
        };
        let output = self.stack.clone().oneshot(request).await?;
        O::Output::try_from(output).map_err(|other| {
            StorageError::internal(format!("the stack answered with {}", other.name()))
        })
    }
}
