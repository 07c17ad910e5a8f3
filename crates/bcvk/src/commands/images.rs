//! `bcvk images`.

use std::process::ExitCode;

use bcvk_contract::status::Timestamp;
use bcvk_host::podman::Podman;
use bcvk_host::{BootableImage, Tool, find_tool};
use serde_json::{Value, json};

use super::listing::{self, Entry, shown_id};
use crate::cli::{Images, ImagesVerb};
use crate::error::CommandError;
use crate::ui::{self, Ui};

/// Name of an image that has none, as podman shows it.
const NO_NAME: &str = "<none>";

pub(super) fn images(images: &Images, ui: &Ui) -> Result<ExitCode, CommandError> {
    let ImagesVerb::List(args) = &images.verb;
    listing::check(&args.listing, &BootableImage::default())?;
    let podman = Podman::new(find_tool(Tool::Podman)?);
    let images = BootableImage::list(&podman)?;
    listing::show(&images, &args.listing, ui)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the image's names, or what stands for one.
fn names(image: &BootableImage) -> impl Iterator<Item = &str> {
    let none = image.names.is_empty().then_some(NO_NAME);
    image.names.iter().map(String::as_str).chain(none)
}

fn age(image: &BootableImage) -> String {
    let now = i64::try_from(Timestamp::now().0 / 1_000_000).unwrap_or(i64::MAX);
    ui::age(u64::try_from(now - image.created).unwrap_or(0))
}

impl Entry for BootableImage {
    const HEADINGS: &'static [&'static str] = &["NAME", "IMAGE ID", "SIZE", "CREATED"];

    fn id(&self) -> &str {
        &self.id
    }

    /// Returns a row for each name of the image.
    fn rows(&self, whole_ids: bool) -> Vec<Vec<String>> {
        let rows = names(self).map(|name| {
            vec![
                name.to_owned(),
                shown_id(&self.id, whole_ids),
                ui::size(self.size),
                age(self),
            ]
        });
        rows.collect()
    }

    fn values(&self, whole_ids: bool) -> Vec<Value> {
        let values = names(self).map(|name| {
            let (repository, tag) = match name.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => (repository, tag),
                _ => (name, NO_NAME),
            };
            json!({
                "ID": shown_id(&self.id, whole_ids),
                "Repository": repository,
                "Tag": tag,
                "Names": name,
                "Size": ui::size(self.size),
                "Created": age(self),
                "CreatedSince": age(self),
                "CreatedAt": self.created_at,
                "Labels": self.labels,
            })
        });
        values.collect()
    }
}
