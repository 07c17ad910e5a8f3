//! `bcvk images`.

use std::process::ExitCode;

use bcvk_contract::status::Timestamp;
use bcvk_host::podman::Podman;
use bcvk_host::{BootableImage, Tool, find_tool};

use crate::cli::{Images, ImagesList, ImagesVerb};
use crate::error::CommandError;
use crate::ui::{self, Ui};

/// Hexadecimal digits of an ID that podman shows.
const SHORT_ID: usize = 12;

pub(super) fn images(images: &Images, ui: &Ui) -> Result<ExitCode, CommandError> {
    match &images.verb {
        ImagesVerb::List(args) => list(args, ui),
    }
}

fn list(args: &ImagesList, ui: &Ui) -> Result<ExitCode, CommandError> {
    let podman = Podman::new(find_tool(Tool::Podman)?);
    let images = BootableImage::list(&podman)?;
    if args.form.json {
        ui.json(&images)?;
    } else {
        let now = i64::try_from(Timestamp::now().0 / 1_000_000).unwrap_or(i64::MAX);
        ui::print(&ui::table(
            &["NAME", "IMAGE ID", "SIZE", "CREATED"],
            images.iter().flat_map(|image| rows(image, now)),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Rows of a table, one for each name of the image.
fn rows(image: &BootableImage, now: i64) -> Vec<Vec<String>> {
    let row = |name: &str| {
        vec![
            name.to_owned(),
            image.id.chars().take(SHORT_ID).collect(),
            ui::size(image.size),
            ui::age(u64::try_from(now - image.created).unwrap_or(0)),
        ]
    };
    if image.names.is_empty() {
        vec![row("<none>")]
    } else {
        image.names.iter().map(|name| row(name)).collect()
    }
}
