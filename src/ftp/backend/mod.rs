//! The storage behind the engine: FTP's commands as operations of the stack.
//!
//! A backend belongs to one engine, and so to one session. It decides nothing about rights: the stack does, with every
//! operation. What it refuses by itself follows from FTP's idea of directories, which storage does not have.
//!
//! | file | does |
//! |---|---|
//! | [`look`], [`list`] | MLST, SIZE, MDTM, CWD; LIST, MLSD, NLST |
//! | [`download`], [`upload`] | RETR; STOR and APPE |
//! | [`change`], [`rename`] | MKD, RMD, DELE, MFMT; RNTO |
//! | [`facts`], [`format`](mod@format) | what is told of files, and how a line of a listing looks |
//! | [`sight`] | what the session saw last, for commands that rely on it |

mod change;
mod download;
mod facts;
mod format;
mod list;
mod look;
mod rename;
mod sight;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upload;

use std::fmt::{self, Debug};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use unftp_core::storage::{self, FEATURE_RESTART, Fileinfo, StorageBackend};

use crate::ftp::conduit::Delivered;
use crate::ftp::error::Failure;
use crate::ftp::links::Links;
use crate::ftp::path::Place;
use crate::ftp::user::User;
use crate::storage::Gateway;
use crate::telemetry::Metrics;
use facts::Facts;
use sight::Sight;

/// What backends need to know.
#[derive(Debug, Clone)]
pub(super) struct BackendSettings {
    /// The most entries that a listing may have; the engine holds it in memory as a whole.
    pub(super) max_list_entries: usize,
    /// Where names are counted that cannot be shown.
    pub(super) metrics: Metrics,
}

/// The storage of one session. Clones share everything.
#[derive(Clone)]
pub(super) struct Backend {
    gateway: Gateway,
    links: Links,
    settings: BackendSettings,
    sight: Sight,
}

impl Backend {
    /// Creates the storage of a session, which says by the links' gate when an upload may be committed, and finds there why
    /// something was refused.
    pub(super) fn new(gateway: Gateway, links: Links, settings: BackendSettings) -> Self {
        Self {
            gateway,
            links,
            settings,
            sight: Sight::default(),
        }
    }

    /// Sets the modification time of a file, which the engine has no command for.
    ///
    /// Errors: the reason is left for the session.
    pub(super) async fn set_modified(
        &self,
        user: &User,
        path: &str,
        modified: OffsetDateTime,
    ) -> storage::Result<()> {
        let outcome = async { self.touch(user, &place(user, path)?, modified).await };
        self.left(outcome.await)
    }

    /// Reports whether a place is what the user sees as `/`.
    fn is_root(&self, user: &User, place: &Place) -> bool {
        Place::of(user.root(), Path::new("/")).is_ok_and(|root| root == *place)
    }

    /// Leaves the reason of a failure for the session.
    fn left<T>(&self, outcome: Result<T, Failure>) -> storage::Result<T> {
        outcome.map_err(|failure| failure.leave(&self.links.refusals))
    }
}

/// The engine writes its storage into every span: a name is enough.
impl Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

fn place(user: &User, path: impl AsRef<Path>) -> Result<Place, Failure> {
    Ok(Place::of(user.root(), path.as_ref())?)
}

#[async_trait]
impl StorageBackend<User> for Backend {
    type Metadata = Facts;

    fn name(&self) -> &str {
        "hugbucket"
    }

    fn supported_features(&self) -> u32 {
        FEATURE_RESTART
    }

    async fn metadata<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
    ) -> storage::Result<Facts> {
        let outcome = async { self.stat(user, &place(user, path)?).await };
        self.left(outcome.await)
    }

    async fn list<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
    ) -> storage::Result<Vec<Fileinfo<PathBuf, Facts>>> {
        let outcome = async { self.children(user, &place(user, path)?).await };
        let children = self.left(outcome.await)?;
        let entries = children.into_iter().map(|child| Fileinfo {
            path: PathBuf::from(child.name),
            metadata: child.facts,
        });
        Ok(entries.collect())
    }

    async fn list_fmt<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
    ) -> storage::Result<Cursor<Vec<u8>>> {
        let outcome = async { self.children_or_file(user, &place(user, path)?).await };
        let children = self.left(outcome.await)?;
        Ok(Cursor::new(list::long(&children).into_bytes()))
    }

    async fn list_vec<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
    ) -> storage::Result<Vec<String>> {
        let outcome = async { self.children_or_file(user, &place(user, path)?).await };
        let children = self.left(outcome.await)?;
        Ok(list::long(&children).lines().map(str::to_owned).collect())
    }

    async fn nlst<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
    ) -> io::Result<Cursor<Vec<u8>>> {
        let outcome = async { self.children_or_file(user, &place(user, path)?).await };
        let children = self.left(outcome.await).map_err(io::Error::other)?;
        Ok(Cursor::new(list::short(&children).into_bytes()))
    }

    async fn get_into<'a, P, W: ?Sized>(
        &self,
        user: &User,
        path: P,
        start_pos: u64,
        output: &'a mut W,
    ) -> storage::Result<u64>
    where
        W: AsyncWrite + Unpin + Sync + Send,
        P: AsRef<Path> + Send + Debug,
    {
        let outcome = async {
            let body = self.open(user, &place(user, path)?, start_pos).await?;
            match self.links.conduit.deliver(body).await {
                Delivered::Taken(sent) => sent,
                Delivered::NotAsked(body) => download::send(body, output).await,
            }
        };
        self.left(outcome.await)
    }

    async fn get<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
        start_pos: u64,
    ) -> storage::Result<Box<dyn AsyncRead + Send + Sync + Unpin>> {
        let outcome = async { self.open(user, &place(user, path)?, start_pos).await };
        let body = self.left(outcome.await)?;
        Ok(Box::new(download::Reader::new(body)))
    }

    async fn put<P: AsRef<Path> + Send + Debug, R: AsyncRead + Send + Sync + Unpin + 'static>(
        &self,
        user: &User,
        input: R,
        path: P,
        start_pos: u64,
    ) -> storage::Result<u64> {
        let outcome = async {
            let body = upload::body_of(self.links.conduit.inflow(), input, self.links.gate.clone());
            self.store(user, &place(user, path)?, start_pos, body).await
        };
        self.left(outcome.await)
    }

    async fn del<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
    ) -> storage::Result<()> {
        let outcome = async { self.remove_file(user, &place(user, path)?).await };
        self.left(outcome.await)
    }

    async fn mkd<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
    ) -> storage::Result<()> {
        let outcome = async { self.make_directory(user, &place(user, path)?).await };
        self.left(outcome.await)
    }

    async fn rename<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        from: P,
        to: P,
    ) -> storage::Result<()> {
        let outcome = async {
            let (from, to) = (place(user, from)?, place(user, to)?);
            self.move_to(user, &from, &to).await
        };
        self.left(outcome.await)
    }

    async fn rmd<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
    ) -> storage::Result<()> {
        let outcome = async { self.remove_directory(user, &place(user, path)?).await };
        self.left(outcome.await)
    }

    async fn cwd<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &User,
        path: P,
    ) -> storage::Result<()> {
        let outcome = async { self.enter_directory(user, &place(user, path)?).await };
        self.left(outcome.await)
    }
}
